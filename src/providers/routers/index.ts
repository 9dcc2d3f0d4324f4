import { HaproxyRouter, createHaproxyRouter } from './haproxy.ts';

/** Every kind of router there is. */
export const routers = {
  haproxy: { schema: HaproxyRouter, create: createHaproxyRouter },
} as const;
