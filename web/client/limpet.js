import { Client } from './client.js';

export { Client } from './client.js';
export { Room } from './room.js';
export { LimpetError, codeName, isRetryable } from './codes.js';
export { SUBPROTOCOL } from './codec.js';

/** Connects to a gateway, or to whichever of several answers. */
export function connect(urls, options) { return new Client(urls, options); }
