/** What has to be there before a release can run. */
import type { SecretRef, SecretRefs } from './secret.ts';

/** A setting of a backend, or a variable: a plain value, or a list or group of plain values. */
export type InfrastructureValue =
  | string
  | number
  | boolean
  | readonly (string | number | boolean)[]
  | { readonly [name: string]: string | number | boolean };

/** What is there before the release is, and with which rights it is changed. */
export interface InfrastructureSpec {
  readonly tool:
    | {
        readonly kind: 'terraform' | 'opentofu';
        readonly backend: {
          readonly kind: string;
          readonly config: Readonly<
            Record<string, string | number | boolean | { readonly [name: string]: string | number | boolean }>
          >;
        };
      }
    | {
        readonly kind: 'exec';
        readonly plan: readonly string[];
        readonly apply: readonly string[];
        readonly state: readonly string[];
        readonly discard?: readonly string[] | undefined;
      };
  /** Of the definition, relative to the checkout. */
  readonly folder: string;
  readonly variables: Readonly<Record<string, InfrastructureValue>>;
  readonly secretVariables: SecretRefs;
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: SecretRefs;
  /** Encrypts the saved plan. */
  readonly planKey: SecretRef;
  readonly lockTimeoutMs: number;
  readonly timeoutMs: number;
}
