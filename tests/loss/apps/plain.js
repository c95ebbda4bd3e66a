// A plain node server on descriptor 3, without a handler for any signal: SIGTERM ends it in the middle of whatever it
// has in hand. `/echo/17` answers with `17`, `/slow/17` after $SLOW seconds, `/stream` with an event every 50 ms for ever.
'use strict';
const fs = require('node:fs');
const http = require('node:http');

http.createServer((request, response) => {
  const [, kind, number] = request.url.split('/');
  if (kind !== 'echo') fs.appendFileSync('taken', process.pid + '\n');
  if (kind === 'stream') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const timer = setInterval(() => response.write(`data: ${process.pid}\n\n`), 50);
    request.on('close', () => clearInterval(timer));
    return;
  }
  response.setHeader('Content-Length', Buffer.byteLength(number));
  setTimeout(() => response.end(number), kind === 'slow' ? process.env.SLOW * 1000 : 0);
}).listen({ fd: 3 });
