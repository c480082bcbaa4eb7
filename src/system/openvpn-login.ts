import {
  type ManagementClient,
  ManagementError,
  type PasswordNeedEvent,
  renderTotp,
  type TotpRecipe,
  type VerificationFailedEvent,
} from '../node-openvpn-mgmt/src/index.ts';
import {
  explainMissingCode,
  explainRefusal,
  explainRefusedCode,
  explainUnanswered,
  type FailureContext,
} from '../openvpn/failure.ts';
import type { Cause } from '../tunnel/cause.ts';

/** What OpenVPN may ask for. */
export interface OpenvpnSecrets {
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly keyPassphrase?: string;
  /** What one-time codes are made of. */
  readonly totp?: TotpRecipe;
  /** What the proxy in front of the server asks for. */
  readonly proxy?: { readonly username: string; readonly password: string };
}

/** Answers the prompts of one OpenVPN process. */
export interface Login {
  readonly answer: (need: PasswordNeedEvent) => void;
  readonly refused: (event: VerificationFailedEvent) => void;
  /** A question of the server in the middle of a login, as `>INFOMSG` has it. */
  readonly inform: (text: string) => void;
  /** Whether a line of the log says that the passphrase is wrong where OpenVPN itself does not. */
  readonly tellsWrongPassphrase: (line: string) => boolean;
  /** OpenVPN starts over because the server refused the login with a question, which the next login will answer. */
  readonly isStartingOver: () => boolean;
  /** It is ready for that login. */
  readonly goOn: () => void;
}

export function createLogin({
  context,
  secrets,
  fail,
  client,
}: {
  readonly context: FailureContext;
  readonly secrets: OpenvpnSecrets;
  readonly fail: (cause: Cause) => void;
  readonly client: () => ManagementClient | undefined;
}): Login {
  let isStartingOver = false;
  let hasStartedOver = false;
  let hasToldCode = false;
  let hasToldPassphrase = false;

  // What cannot be sent is reported without its value; a connection that went is reported by itself.
  const refuse = (error: unknown) => {
    if (error instanceof ManagementError && error.code === 'MGMT_PARAMETER') {
      const text = 'the user name or password holds something that cannot be sent to OpenVPN';
      fail({ code: 'auth-failed', text });
    }
  };

  const makeCode = (recipe: TotpRecipe) => {
    hasToldCode = true;
    return renderTotp({ ...recipe, timeMs: Date.now() });
  };

  return {
    answer: (need) => {
      const { realm, staticChallenge, dynamicChallenge } = need;
      const login = loginFor(realm, secrets);
      if (login === undefined) return fail(explainUnanswered(realm, context));
      if (realm === 'Private Key') hasToldPassphrase = true;
      const asked = staticChallenge ?? (dynamicChallenge?.flags.includes('R') ? dynamicChallenge : undefined);
      if (asked !== undefined && secrets.totp === undefined) return fail(explainMissingCode(asked.text, context));
      const response = asked === undefined || secrets.totp === undefined ? undefined : makeCode(secrets.totp);
      // A question names the user that its answer is for.
      const username = dynamicChallenge?.username ?? login.username;
      void client()
        ?.answer(need, { ...login, username, response })
        .catch(refuse);
    },
    refused: (event) => {
      const { crv1 } = event;
      // A code holds for half a minute: an answer that was refused would be the same once more.
      if (crv1 === undefined || hasStartedOver) {
        return fail(
          hasToldCode && event.realm === 'Auth'
            ? explainRefusedCode(crv1?.text ?? event.reason, context)
            : explainRefusal(event, context),
        );
      }
      if (crv1.flags.includes('R') && secrets.totp === undefined) return fail(explainMissingCode(crv1.text, context));
      isStartingOver = true;
    },
    inform: (message) => {
      const [, flags, text = ''] = /^CR_TEXT:([^:]*):(.*)$/s.exec(message) ?? [];
      if (flags?.split(',').includes('R') !== true) return;
      if (secrets.totp === undefined) return fail(explainMissingCode(text, context));
      void client()?.crResponse(makeCode(secrets.totp)).catch(refuse);
    },
    // One wrong passphrase in 200 decrypts the last block to what looks like padding. OpenSSL then finds nonsense
    // instead of a key, and OpenVPN reports a wrong passphrase only by the other error (ssl_openssl.c of 2.6.14).
    tellsWrongPassphrase: (line) =>
      hasToldPassphrase && /^OpenSSL: error:\w+:DECODER routines:[^:]*:unsupported:/.test(line),
    isStartingOver: () => isStartingOver,
    goOn: () => {
      isStartingOver = false;
      hasStartedOver = true;
      void client()?.holdRelease().catch(refuse);
    },
  };
}

function loginFor(
  realm: string,
  { credentials, keyPassphrase, proxy }: OpenvpnSecrets,
): { readonly username?: string; readonly password: string } | undefined {
  if (realm === 'Private Key') return keyPassphrase === undefined ? undefined : { password: keyPassphrase };
  if (realm === 'Auth') return credentials;
  return realm.endsWith(' Proxy') ? proxy : undefined;
}
