// SPDX-License-Identifier: Apache-2.0
// A venue made of node's `ws`, plain and TLS: JSON-RPC 2.0 in the shape of hpx_protocol_json_rpc().
//
//   public/auth {key}            must be first; the key is "secret"
//   public/subscribe {channels}  all but those that begin with "refused."; public/unsubscribe
//   public/echo                  answers with its params; public/fail with an error
//   public/publish {channel, count}   answers, then sends that many updates: {"seq": 0, ...}
//   public/silent                no answer, until public/release sends it, before its own
//   public/heartbeat             answers, then sends a heartbeat that wants public/test
//   public/drop                  cuts TCP; public/close {code, reason}
//   public/held                  the channels of this connection, sorted
//   public/stats                 what may not happen, since the start: {"early", "twice"}
//
// usage: session_server.js [--tls CERT KEY]
// stdout: "listening PORT", "listening-tls PORT"; "open ALIVE", "auth ok|bad", "subscribed C...",
// "unsubscribed C...", "tested", "closed CODE" per connection.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const {WebSocketServer} = require('ws');

const say = (...words) => process.stdout.write(words.join(' ') + '\n');
const stats = {early: 0, twice: 0};
let alive = 0;

class Client {
    constructor(ws) {
        this.ws = ws;
        this.authenticated = false;
        this.channels = new Set();
        this.kept = [];
    }

    send(message) {
        this.ws.send(JSON.stringify({jsonrpc: '2.0', ...message}));
    }

    notify(method, params) {
        this.send({method, params});
    }

    subscribe(channels) {
        const good = channels.filter(channel => !channel.startsWith('refused.'));
        for (const channel of good) {
            stats.twice += this.channels.has(channel) ? 1 : 0;
            this.channels.add(channel);
        }
        say('subscribed', ...good);
        return good;
    }

    unsubscribe(channels) {
        for (const channel of channels) {
            stats.twice += this.channels.delete(channel) ? 0 : 1;
        }
        say('unsubscribed', ...channels);
        return channels;
    }

    auth(id, params) {
        this.authenticated = params.key === 'secret';
        say('auth', this.authenticated ? 'ok' : 'bad');
        if (this.authenticated) {
            this.send({id, result: {}});
        } else {
            this.send({id, error: {code: 13004, message: 'bad key'}});
        }
    }

    publish(id, params) {
        this.send({id, result: 'ok'});
        for (let seq = 0; seq < params.count && this.channels.has(params.channel); seq++) {
            this.notify('subscription', {channel: params.channel, data: {seq}});
        }
    }

    onMessage(text) {
        const {id, method, params} = JSON.parse(text);
        if (method === 'public/auth') {
            this.auth(id, params);
            return;
        }
        stats.early += this.authenticated ? 0 : 1;
        const results = {
            'public/subscribe': () => this.subscribe(params.channels),
            'public/unsubscribe': () => this.unsubscribe(params.channels),
            'public/echo': () => params,
            'public/held': () => [...this.channels].sort(),
            'public/stats': () => stats,
        };
        const actions = {
            'public/fail': () => this.send({id, error: {code: -1, message: 'no'}}),
            'public/publish': () => this.publish(id, params),
            'public/silent': () => this.kept.push(id),
            'public/release': () => {
                this.kept.splice(0).forEach(kept => this.send({id: kept, result: 'late'}));
                this.send({id, result: 'released'});
            },
            'public/heartbeat': () => {
                this.send({id, result: 'ok'});
                this.notify('heartbeat', {type: 'test_request'});
            },
            'public/test': () => {
                say('tested');
                this.send({id, result: {version: '1'}});
            },
            'public/drop': () => this.ws.terminate(),
            'public/close': () => this.ws.close(params.code, params.reason),
        };
        if (results[method]) {
            this.send({id, result: results[method]()});
        } else {
            actions[method]();
        }
    }
}

function serve(server, word) {
    const wss = new WebSocketServer({server});
    wss.on('connection', ws => {
        const client = new Client(ws);
        say('open', ++alive);
        ws.on('error', error => say('error', error.message));
        ws.on('message', text => client.onMessage(text));
        ws.on('close', code => {
            alive--;
            say('closed', code);
        });
    });
    server.listen(0, '127.0.0.1', () => say(word, server.address().port));
}

const [option, cert, key] = process.argv.slice(2);
serve(http.createServer(), 'listening');
if (option === '--tls') {
    serve(https.createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)}),
          'listening-tls');
}
