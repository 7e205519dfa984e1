/** Anything that can be sent: bytes as they are, text as UTF-8, the rest as JSON. */
export type Data = Uint8Array | ArrayBuffer | ArrayBufferView | string | object | number | boolean | null;

export type JoinMode = 'join' | 'create' | 'joinOrCreate' | 'any';

/** The part of a WebSocket class that is used; the package "ws" fits. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly protocol: string;
  readonly bufferedAmount?: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
}

export interface ClientOptions {
  /** Who you are; a function is asked before every connection. */
  token?: string | Uint8Array | (() => string | Uint8Array | Promise<string | Uint8Array>);
  /** Where there is no global WebSocket (Node 20). */
  WebSocket?: new (url: string, protocol: string) => WebSocketLike;
  /** 16 random bytes that name this client; inputs are numbered under it. Default: drawn anew. */
  instance?: Uint8Array;
  /** Shown in the gateway's logs. At most 255 bytes. */
  agent?: string;
  /** Full-jitter back-off in milliseconds; default base 250, cap 10000. */
  backoff?: { base?: number; cap?: number };
  /** Milliseconds to wait for a connection and its welcome; default 15000. */
  helloMs?: number;
  /** Milliseconds between pings, at most half of the gateway's heartbeat; default 2000. */
  pingMs?: number;
}

export interface InputLimits {
  /** Inputs kept until durable; default 1024. */
  maxCount?: number;
  /** Their bytes; default 1 MiB. */
  maxBytes?: number;
}

/** Which rooms of a kind will do. */
export interface Filter {
  /** The part of the kind's rooms: their label `pool`. Without it a join gets rooms of no pool, a list those of all. */
  pool?: string;
  /** Labels that a room must have, among others; one that is made gets them. */
  labels?: Record<string, string>;
  /** Open seats that it must have; default 1. */
  seats?: number;
  /** The version of its host's program. */
  build?: string;
}

export interface JoinOptions {
  /** What the room learns of you; at most 4 KiB. */
  data?: Data;
  /** Default: joinOrCreate with a name, any without one. */
  mode?: JoinMode;
  /** With mode any: which rooms will do. */
  filter?: Filter;
  /** Keep what a reload needs in sessionStorage, or in the storage given. */
  persist?: boolean | Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  /** After a reload: 'fresh' (default) gets full state again, 'kept' goes on from the last message. */
  position?: 'fresh' | 'kept';
  limits?: InputLimits;
}

export interface Payload {
  readonly bytes: Uint8Array;
  readonly text: string;
  /** Parsed anew at every access. */
  readonly json: any;
  readonly epoch: number;
}

export interface Lost {
  /** Reliable messages from..to; 0, 0 where that is not known. */
  from: number;
  to: number;
  epoch: number;
  host: string;
  /** Your inputs that the room has now; later ones are sent again by themselves. */
  applied: number;
  /** How many, where only that is known. */
  missed?: number;
}

export interface ConnectionEnd { why: string; code: number; text: string }

export interface RoomEvents {
  /** Reliable: once, in order. */
  message: Payload & { readonly seq: number };
  /** Replaces earlier ones with the same key. */
  latest: Payload & { readonly key: number };
  ephemeral: Payload;
  /** Your inputs up to these numbers were applied, and are stored. */
  ack: { applied: number; durable: number };
  /** The connection is gone; inputs are kept. */
  dropped: ConnectionEnd;
  /** It is back, after ms milliseconds. */
  resumed: { ms: number; how: 'joined' | 'resumed' | 'gap' | 'rewound'; gateway: string };
  /** The room runs on another host or in a new epoch. */
  moved: { host: string; epoch: number; from: { host: string; epoch: number } };
  /** The room was restored: what it did after its checkpoint is undone. Full state follows. */
  rewound: Lost;
  /** Messages are lost to you. Full state follows. */
  gap: Lost;
  /** The room is being found or restored, or (busy) this client reads too slowly to hear it, for forMs so far. */
  waiting: { code: number; reason: string; text: string; forMs: number };
  /** The room's code failed on your input n; it is skipped. */
  failed: { n: number; code: number; reason: string; text: string };
  /** Inputs from..to, given up because too many were kept, will never be applied. */
  skipped: { from: number; to: number };
  /** Durable acks run, or are paused while the store is away. */
  store: { running: boolean };
  /** The membership is over. */
  left: { code: number; reason: string; text: string };
  error: LimpetError;
}

export interface Room {
  readonly kind: string;
  readonly name: string;
  /** KIND/NAME. */
  readonly id: string;
  /** Your member id in the room. */
  readonly member: number;
  readonly state: 'joining' | 'joined' | 'dropped' | 'left';
  readonly host: string;
  readonly epoch: number;
  readonly incarnation: number;
  /** Number of the last reliable message. */
  readonly seq: number;
  readonly applied: number;
  readonly durable: number;
  readonly nextInput: number;
  readonly kept: number;
  readonly storeRunning: boolean;
  /** Sends one input; returns its number. Throws once the membership is over. */
  send(data: Data): number;
  /** Ends the membership; resolves when that is confirmed. */
  leave(): Promise<unknown>;
  /** Saves for a reload now (with persist; it also happens by itself). */
  save(): void;
  /**
   * Listens; returns a function that stops it. Attach listeners in the turn in which join
   * resolves. Throws a TypeError for an event that there is none of.
   */
  on<E extends keyof RoomEvents>(event: E, fn: (value: RoomEvents[E]) => void): () => void;
  once<E extends keyof RoomEvents>(event: E, fn: (value: RoomEvents[E]) => void): () => void;
  off<E extends keyof RoomEvents>(event: E, fn: (value: RoomEvents[E]) => void): void;
}

export interface RoomInfo {
  room: string;
  members: number;
  max: number;
  /** Seats that are kept for players on their way. */
  reserved?: number;
  /** False while it takes no new members. */
  open?: boolean;
  labels?: Record<string, string>;
}

export interface RoomList {
  rooms: RoomInfo[];
  /** Hosts that were asked, and that answered. */
  asked: number;
  answered: number;
  /** The part of those hosts' rooms, 0 to 1, that the list speaks for. */
  covered?: number;
  /** `after` of the next page; empty: there is none. */
  next?: string;
}

export interface ListOptions {
  /** Rooms of a page; at most 200. */
  most?: number;
  /** Begin behind this name. */
  after?: string;
  filter?: Filter;
}

export interface Stats {
  state: 'connecting' | 'open' | 'waiting' | 'closed';
  gateway: string;
  url: string;
  /** Round trip in milliseconds, smoothed; null before the first. */
  rtt: number | null;
  /** Connections tried so far. */
  attempts: number;
  rooms: number;
}

export interface ClientEvents {
  open: { gateway: string; url: string };
  dropped: ConnectionEnd;
  /** The next attempt comes in ms milliseconds. */
  waiting: ConnectionEnd & { ms: number };
  goaway: { ms: number };
  /** No further attempt is made. */
  closed: { code: number; reason: string; text: string };
  error: LimpetError;
}

export interface Client {
  readonly state: Stats['state'];
  readonly gateway: string;
  readonly rtt: number | null;
  readonly stats: Stats;
  /** Joins; rejects with a LimpetError when it may not. A name is needed unless the mode is 'any'. */
  join(kind: string, name?: string, options?: JoinOptions): Promise<Room>;
  /** Lists joinable rooms of a kind by name, at most `most` (default 100). */
  rooms(kind: string, options?: ListOptions): Promise<RoomList>;
  /**
   * Shows a page of joinable rooms, and again whenever it has changed, about once a
   * second at most, over all connections. `failed` hears why there is none now, never
   * before this has returned.
   * Returns a function that stops it.
   */
  watch(kind: string, options: ListOptions, show: (list: RoomList) => void, failed?: (err: LimpetError) => void): () => void;
  /** Ends the connection without leaving the rooms. */
  close(): void;
  /** For tests: kills the socket as a broken network would. */
  drop(): void;
  /** Tries again now, or checks the connection that there is. */
  wake(): void;
  on<E extends keyof ClientEvents>(event: E, fn: (value: ClientEvents[E]) => void): () => void;
  once<E extends keyof ClientEvents>(event: E, fn: (value: ClientEvents[E]) => void): () => void;
  off<E extends keyof ClientEvents>(event: E, fn: (value: ClientEvents[E]) => void): void;
}

export class LimpetError extends Error {
  constructor(code: number, text?: string, retryMs?: number);
  readonly code: number;
  /** The code's stable name, such as 'room_full'. */
  readonly reason: string;
  readonly text: string;
  readonly retryMs: number;
  /** The same request may succeed later. */
  readonly retryable: boolean;
}

export const SUBPROTOCOL: 'limpet.v1';
export function codeName(code: number): string;
export function isRetryable(code: number): boolean;
/**
 * Connects to a gateway, or to whichever of several answers: ws://HOST:PORT, wss://HOST:PORT, or
 * in a page a path on the page's own server. Throws a TypeError for what is no such URL.
 */
export function connect(urls: string | string[], options?: ClientOptions): Client;
