// The node application of the loss test for pm2's cluster, where each worker listens at the port itself. pm2 stops with INT.
'use strict';
const http = require('node:http');

const server = http.createServer((request, response) => {
  const body = request.url === '/pid' ? String(process.pid) : request.url.replace('/echo/', '');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
});

process.on('SIGINT', () => server.close(() => process.exit(0)));
server.listen(Number(process.env.PORT), '127.0.0.1');
