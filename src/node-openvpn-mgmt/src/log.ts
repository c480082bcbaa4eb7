/** A line of OpenVPN's log: `>LOG:` as it happens, or a line of `log`'s reply. */
export interface LogEvent {
  readonly kind: 'log';
  /** Seconds since 1970. */
  readonly timeS: number;
  /** Any of I (info), F (fatal), N (non-fatal), W (warning), D (debug); may be empty. */
  readonly flags: string;
  readonly message: string;
}

/** Parses `ts,flags,message`; undefined when it is something else. What OpenVPN logs in clear of a credential is cut out. */
export function parseLog(text: string): LogEvent | undefined {
  const match = /^(\d{1,15}),([A-Z]*),(.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, time = '', flags = '', message = ''] = match;
  return { kind: 'log', timeS: Number(time), flags, message: redactSecrets(message) };
}

/**
 * OpenVPN echoes each command to its log and hides the values of `password` alone, and that only if the line parsed
 * (manage.c `man_process_command`, 2.6.14). A challenge response is logged a second time, as the control message that is
 * sent. From verb 7 on the pushed auth-token is logged as it is (misc.c `sanitize_control_message`).
 */
function redactSecrets(message: string): string {
  return message
    .replace(/(MANAGEMENT: CMD '\s*"?(?:username|password|needstr|cr-response|pk-sig|rsa-sig)\b).*$/s, "$1 [...]'")
    .replace(/(\bCR_RESPONSE,).*$/s, "$1[...]'")
    .replace(/([,']auth-token )[^,']+/g, '$1[...]')
    .replace(/\bSESS_ID_[^,'\s]+/g, 'SESS_ID_[...]');
}
