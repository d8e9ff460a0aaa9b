// SPDX-License-Identifier: Apache-2.0
// A WebSocket server made of node's `ws`, plain and TLS. What it does follows from the path:
//
//   /echo       every message comes back
//   /fragment   comes back in random fragments, with pings between them
//   /ping       pings; each pong comes back as the text "pong PAYLOAD"
//   /close?code=C&reason=R   closes at the first message
//   /flood?count=N&size=S    sends N binary messages at the first message
//   /headers    the request's x-* headers as one text message, at once
//   /terminate  drops the TCP connection at the first message
//
// usage: ws_server.js [--tls CERT KEY]
// stdout: "listening PORT", "listening-tls PORT"; "open PATH SUBPROTOCOL" and "closed CODE REASON"
// per connection.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const {WebSocketServer} = require('ws');

const say = (...words) => process.stdout.write(words.join(' ') + '\n');

function sendFragments(ws, data, binary) {
    let at = 0;
    while (at < data.length) {
        const most = Math.min(data.length - at, 1 + crypto.randomInt(data.length + 1));
        const size = crypto.randomInt(4) === 0 ? Math.min(most, 1) : most;
        ws.send(data.subarray(at, at + size), {binary, fin: false});
        if (crypto.randomInt(3) === 0) {
            ws.ping('between');
        }
        at += size;
    }
    ws.send(Buffer.alloc(0), {binary, fin: true});
}

function sendFlood(ws, count, size) {
    for (let i = 0; i < count; i++) {
        const message = Buffer.alloc(size, i & 255);
        message.writeUInt32LE(i, 0);
        ws.send(message);
    }
}

const servants = {
    '/echo': ws => ws.on('message', (data, binary) => ws.send(data, {binary})),
    '/fragment': ws => ws.on('message', (data, binary) => sendFragments(ws, data, binary)),
    '/ping': ws => {
        ws.on('pong', data => ws.send('pong ' + data));
        ws.ping('');
        ws.ping('a');
        ws.ping('x'.repeat(125));
    },
    '/close': (ws, query) => ws.on('message', () => {
        ws.close(Number(query.get('code')), query.get('reason') || '');
    }),
    '/flood': (ws, query) => ws.once('message', () => {
        sendFlood(ws, Number(query.get('count')), Number(query.get('size')));
    }),
    '/headers': (ws, query, request) => {
        const names = Object.keys(request.headers).filter(name => name.startsWith('x-')).sort();
        ws.send(names.map(name => name + '=' + request.headers[name]).join(';'));
    },
    '/terminate': ws => ws.on('message', () => ws.terminate()),
};

function serve(server, word) {
    const handleProtocols = offered => offered.has('hpx.v2') && 'hpx.v2';
    const wss = new WebSocketServer({server, handleProtocols, maxPayload: 64 << 20});
    wss.on('connection', (ws, request) => {
        const url = new URL(request.url, 'ws://x');
        say('open', request.url, ws.protocol || '-');
        ws.on('error', error => say('error', error.message));
        ws.on('close', (code, reason) => say('closed', code, reason.toString()));
        (servants[url.pathname] || servants['/echo'])(ws, url.searchParams, request);
    });
    server.listen(0, '127.0.0.1', () => say(word, server.address().port));
}

const [option, cert, key] = process.argv.slice(2);
serve(http.createServer(), 'listening');
if (option === '--tls') {
    serve(https.createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)}),
          'listening-tls');
}
