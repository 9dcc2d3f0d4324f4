import type { ProbeSpec } from '../../definition/specs/probe.ts';
import type { Target } from '../targets/port.ts';
import { createContainerProbe } from './container.ts';
import { createHttpProbe } from './http.ts';
import type { Probe } from './port.ts';
import { createTcpProbe } from './tcp.ts';

/** Makes the probe that a definition asks for. A new kind does not compile until it has its line here. */
export function createProbe(spec: ProbeSpec, target: Pick<Target, 'readSlots'>): Probe {
  switch (spec.kind) {
    case 'http':
      return createHttpProbe(spec);
    case 'tcp':
      return createTcpProbe(spec);
    case 'container':
      return createContainerProbe(spec, target);
  }
}
