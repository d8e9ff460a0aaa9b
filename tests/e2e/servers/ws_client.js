// SPDX-License-Identifier: Apache-2.0
// A WebSocket client made of node's `ws`, against our server role (tests/e2e/service.h).
//
// usage: ws_client.js URL CASE[,CASE...] [CA]
// Exit status 0 if all cases went as they should; the reason is on stderr otherwise.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const {once} = require('events');
const WebSocket = require('ws');

const [base, names, ca] = process.argv.slice(2);
const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20];

async function connect(path, protocols, onMessage) {
    const options = {maxPayload: 64 << 20};
    if (ca) {
        options.ca = fs.readFileSync(ca);
    }
    const ws = new WebSocket(base + path, protocols || [], options);
    if (onMessage) {
        ws.on('message', onMessage); // the first message may come with the 101
    }
    await once(ws, 'open');
    return ws;
}

async function close(ws) {
    ws.close(1000);
    const [code] = await once(ws, 'close');
    assert.strictEqual(code, 1000);
}

const textOf = size => Buffer.from('aé€😀'.repeat(Math.floor(size / 10)) + 'x'.repeat(size % 10));

async function echo(send) {
    const ws = await connect('/echo');
    for (const size of SIZES) {
        for (const [message, binary] of [[textOf(size), false], [crypto.randomBytes(size), true]]) {
            const answer = once(ws, 'message');
            send(ws, message, binary);
            const [data, isBinary] = await answer;
            assert(data.equals(message), 'size ' + size);
            assert.strictEqual(isBinary, binary);
        }
    }
    await close(ws);
}

function sendPieces(ws, message, binary) {
    for (let at = 0; at < message.length;) {
        const size = crypto.randomInt(3) === 0 ? 1 : 1 + crypto.randomInt(message.length + 1);
        ws.send(message.subarray(at, at + size), {binary, fin: false});
        ws.ping('between');
        at += size;
    }
    ws.send(Buffer.alloc(0), {binary, fin: true});
}

const cases = {
    echo: () => echo((ws, message, binary) => ws.send(message, {binary})),
    fragments: () => echo(sendPieces),
    pipelined: async () => {
        const ws = await connect('/echo');
        const got = [];
        const all = new Promise(resolve => ws.on('message', data => {
            got.push(data.toString());
            if (got.length === 1000) {
                resolve();
            }
        }));
        for (let i = 0; i < 1000; i++) {
            ws.send('message ' + i);
        }
        await all;
        got.forEach((text, i) => assert.strictEqual(text, 'message ' + i));
        await close(ws);
    },
    ping: async () => {
        const ws = await connect('/echo');
        for (const payload of ['', 'p', 'q'.repeat(125)]) {
            const pong = once(ws, 'pong');
            ws.ping(payload);
            assert.strictEqual((await pong)[0].toString(), payload);
        }
        await close(ws);
    },
    push: async () => {
        const got = [];
        let finish;
        const all = new Promise(resolve => finish = resolve);
        const ws = await connect('/push', [], data => got.push(data) === 3 && finish());
        await all;
        assert.strictEqual(got[0].toString(), 'one');
        assert.strictEqual(got[1].toString(), 'two');
        assert(got[2].equals(Buffer.alloc(70000, 'b')));
        await close(ws);
    },
    our_close: async () => {
        const ws = await connect('/echo');
        ws.close(4005, 'bye €');
        assert.strictEqual((await once(ws, 'close'))[0], 4005);
    },
    their_close: async () => {
        const ws = await connect('/close');
        ws.send('now');
        const [code, reason] = await once(ws, 'close');
        assert.strictEqual(code, 4002);
        assert.strictEqual(reason.toString(), 'enough');
    },
    stay: async () => {
        const ws = await connect('/echo');
        process.stdout.write('ready\n');
        assert.strictEqual((await once(ws, 'close'))[0], 1001);
    },
    subprotocol: async () => {
        const ws = await connect('/echo', ['hpx.v1', 'hpx.v2', 'hpx.v3']);
        assert.strictEqual(ws.protocol, 'hpx.v2');
        await close(ws);
    },
    // Frames that ws itself would not send: written to its socket behind its back.
    unmasked: async () => {
        const ws = await connect('/echo');
        ws._socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
        assert.strictEqual((await once(ws, 'close'))[0], 1002);
    },
    not_utf8: async () => {
        const ws = await connect('/echo');
        ws.send(Buffer.from([0x61, 0xC0, 0x80]), {binary: false});
        assert.strictEqual((await once(ws, 'close'))[0], 1007);
    },
    too_big: async () => {
        const ws = await connect('/echo');
        ws.on('error', () => {});
        ws.send(Buffer.alloc((16 << 20) + 1));
        assert.strictEqual((await once(ws, 'close'))[0], 1009);
    },
    vanish: async () => {
        const ws = await connect('/echo');
        ws.terminate();
    },
};

async function main() {
    for (const name of names.split(',')) {
        await cases[name]().catch(error => {
            process.stderr.write('ws_client.js ' + name + ': ' + error.stack + '\n');
            process.exit(1);
        });
    }
    process.exit(0);
}

main();
