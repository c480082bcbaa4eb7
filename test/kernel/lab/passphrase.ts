import { createPrivateKey } from 'node:crypto';

/** How OpenSSL fails: the padding is wrong, or right by chance, which one wrong passphrase in 200 gets to. */
export type PassphraseError = 'ERR_OSSL_BAD_DECRYPT' | 'ERR_OSSL_UNSUPPORTED';

/** A wrong passphrase of an encrypted private key, by the error that it gives. */
export function findWrongPassphrase(key: string, error: PassphraseError): string {
  for (let tried = 0; tried < 10_000; tried += 1) {
    const passphrase = `wrong${tried}`;
    if (errorOf(key, passphrase) === error) return passphrase;
  }
  throw new Error(`no passphrase gives ${error}`);
}

function errorOf(key: string, passphrase: string): unknown {
  try {
    createPrivateKey({ key, passphrase });
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}
