import type { Command } from './command-queue.ts';
import { ManagementError } from './errors.ts';
import type { PasswordNeedEvent, StaticChallenge } from './password.ts';
import { renderCommand } from './quote.ts';

/** What answers a `password-need` event. What the event does not ask for is not sent. */
export interface Credentials {
  /** With a dynamic challenge, the user name of the challenge unless told. */
  readonly username?: string | undefined;
  /** The password, or the passphrase of the private key. */
  readonly password?: string | undefined;
  /** The answer to a static or a dynamic challenge, such as what `renderTotp` gives. Not sent when there is none. */
  readonly response?: string | undefined;
}

/**
 * Renders the command lines that answer a prompt, `username` before `password`. `client.answer` sends the same.
 *
 * Throws `MGMT_PARAMETER` when something that is asked for is not there, or cannot be sent (see `renderCommand`).
 */
export function renderCredentials(need: PasswordNeedEvent, credentials: Credentials): readonly string[] {
  return planCredentials(need, credentials).map(({ name, parameters = [] }) => renderCommand(name, parameters));
}

/** {@link renderCredentials} as commands, every one of which can be sent. */
export function planCredentials(need: PasswordNeedEvent, credentials: Credentials): readonly Command[] {
  const { realm, wants } = need;
  const values = {
    ...(wants === 'password' ? {} : { username: planUsername(need, credentials) }),
    ...(wants === 'username' ? {} : { password: planPassword(need, credentials) }),
  };
  const commands = Object.entries(values).map(
    ([name, value]): Command => ({ name, parameters: [realm, value], reply: 'single', secrets: [value] }),
  );
  // A user name without its password would leave OpenVPN waiting, so all is refused before anything is sent.
  for (const { name, parameters = [] } of commands) renderCommand(name, parameters);
  return commands;
}

function planUsername(need: PasswordNeedEvent, { username }: Credentials): string {
  return username ?? need.dynamicChallenge?.username ?? missing(need, 'a user name');
}

function planPassword(need: PasswordNeedEvent, { password, response }: Credentials): string {
  if (need.dynamicChallenge !== undefined) {
    const { flags, stateId } = need.dynamicChallenge;
    // Without the flag R the server only tells something, and wants to be asked again.
    const text = flags.includes('R') ? (response ?? missing(need, 'the response to a challenge')) : '';
    return `CRV1::${stateId}::${text}`;
  }
  const secret = password ?? missing(need, 'a password');
  if (need.staticChallenge === undefined) return secret;
  return joinStaticResponse(need.staticChallenge, secret, response ?? missing(need, 'the response to a challenge'));
}

// management-notes.txt, "Challenge/Response Protocol".
function joinStaticResponse({ format }: StaticChallenge, password: string, response: string): string {
  if (format === 'concatenated') return `${password}${response}`;
  return `SCRV1:${encodeBase64(password)}:${encodeBase64(response)}`;
}

function missing({ realm }: PasswordNeedEvent, what: string): never {
  throw new ManagementError({
    code: 'MGMT_PARAMETER',
    message: `OpenVPN asks for ${what} (${realm}), and there is none`,
  });
}

function encodeBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
