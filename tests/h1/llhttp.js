// SPDX-License-Identifier: Apache-2.0
// Reads the streams that our reader accepts (a file of test_llhttp.c) with node's own parser,
// llhttp in its strict form, and prints those that llhttp refuses. Exit status 1 if there is any,
// but for:
// - methods that llhttp has not in its list (RFC 9110 9.1: any token is a method);
// - a HTAB after the value of Content-Length or Transfer-Encoding (RFC 9112 5: white space).
'use strict';
const fs = require('fs');
const { HTTPParser } = require('_http_common');

const GET = 0, HEAD = 1, CONNECT = 2, UPGRADE = 3, REQUEST = 4;

function refuses(kind, bytes, close) {
  const parser = new HTTPParser();
  parser.initialize(kind === REQUEST ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, 0);
  parser[HTTPParser.kOnHeadersComplete | 0] =
    (major, minor, headers, method, url, status) => {
      if (kind === HEAD) return 1;
      return kind === CONNECT && status >= 200 && status < 300 ? 2 : 0;
    };
  let result = parser.execute(bytes);
  if (!(result instanceof Error) && close) {
    result = parser.finish();
  }
  return result instanceof Error ? `${result.code}: ${result.reason}` : null;
}

function excused(why, kind, bytes, close) {
  if (why.startsWith('HPE_INVALID_METHOD')) return true;
  const plain = bytes.toString('latin1').replace(/\t+\r\n/g, '\r\n');
  const again = Buffer.from(plain, 'latin1');
  return again.length !== bytes.length && refuses(kind, again, close) === null;
}

const data = fs.readFileSync(process.argv[2]);
let count = 0;
let bad = 0;
for (let at = 0; at < data.length;) {
  const kind = data[at];
  const close = data[at + 1] !== 0;
  const size = data.readUInt32LE(at + 2);
  const bytes = data.subarray(at + 6, at + 6 + size);
  at += 6 + size;
  count++;
  const why = refuses(kind, bytes, close);
  if (why !== null && !excused(why, kind, bytes, close) && bad++ < 20) {
    console.log(`kind ${kind}: ${why}: ${JSON.stringify(bytes.toString('latin1'))}`);
  }
}
console.log(`llhttp ${process.versions.llhttp} refuses ${bad} of ${count} streams that we accept`);
process.exit(bad === 0 && count > 0 ? 0 : 1);
