// The protocol's codes. Below 4000 they answer a request or tell of a room;
// from 4000 they close the connection.

const names = {
  0: 'none',
  100: 'bad_frame', 101: 'bad_request', 102: 'unknown_kind', 103: 'no_room', 104: 'room_exists',
  105: 'not_member', 106: 'too_many_rooms', 107: 'too_big', 108: 'unauthorized', 109: 'bad_token',
  110: 'token_expired', 111: 'refused', 112: 'already_member', 113: 'too_many_lists',
  200: 'room_full', 201: 'room_locked', 202: 'busy', 203: 'unavailable', 204: 'timeout',
  205: 'kind_unavailable', 206: 'rate_limited',
  300: 'left', 301: 'kicked', 302: 'room_closed', 303: 'ended', 304: 'replaced', 305: 'grace_over',
  306: 'state_lost',
  400: 'input_failed',
  4000: 'shutdown', 4001: 'slow', 4002: 'idle', 4003: 'overload', 4004: 'cut_off', 4005: 'hello_late',
  4500: 'protocol_error', 4501: 'bad_version', 4502: 'not_authorized', 4503: 'message_too_big', 4504: 'flood',
};

export const codeName = (code) => names[code] ?? 'unknown';

/** The same request may succeed later. */
export const isRetryable = (code) => code >= 200 && code < 300;

/** A connection closed with this code must not be made again as it was. */
export const isFinalClose = (code) => code >= 4500 && code < 5000;

/** What a request or a room was refused with. */
export class LimpetError extends Error {
  constructor(code, text = '', retryMs = 0) {
    super(text ? `${codeName(code)}: ${text}` : codeName(code));
    this.name = 'LimpetError';
    this.code = code;
    this.reason = codeName(code);
    this.text = text;
    this.retryMs = retryMs;
    this.retryable = isRetryable(code);
  }
}
