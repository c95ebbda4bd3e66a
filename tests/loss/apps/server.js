// A node server on descriptor 3. `/echo/17` answers with `17`; after `/used-up` it ends by itself, as one that counts
// its own requests would: it gives its clients the time to go that the pool gives after SIGUSR2. From then on every
// answer says `Connection: close`. At SIGTERM it closes in order.
'use strict';
const http = require('node:http');

let draining = false;

const server = http.createServer((request, response) => {
  const body = request.url === '/pid' ? String(process.pid) : request.url.replace('/echo/', '');
  if (request.url === '/used-up') {
    draining = true;
    setTimeout(stop, 1000);
  }
  response.setHeader('Content-Length', Buffer.byteLength(body));
  if (draining) response.setHeader('Connection', 'close');
  response.end(body);
});

function stop() {
  draining = true;
  server.close(() => process.exit(0));
}

// A listener that has been shut answers accept(2) with an error; the stop signal is about to follow.
server.on('error', () => {});
process.on('SIGUSR2', () => { draining = true; });
process.on('SIGTERM', stop);
server.listen({ fd: 3 });
