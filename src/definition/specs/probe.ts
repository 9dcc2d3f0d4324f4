/** Probes: one check of something alive each. */
interface ProbeBase {
  readonly name: string;
  /** Tries after the first, before the probe has failed. */
  readonly retries: number;
  /** Between two tries. */
  readonly intervalMs: number;
  /** Of one try. */
  readonly timeoutMs: number;
  /** Past the router, through it, or both at their time. */
  readonly through: 'slot' | 'router' | 'both';
}

export interface HttpProbeSpec extends ProbeBase {
  readonly kind: 'http';
  readonly method: 'GET' | 'HEAD';
  readonly path: string;
  readonly expectStatus: number;
  /** Text that the body must contain. */
  readonly expectBody?: string;
  /** Field of the JSON body that must be the version of the release. */
  readonly versionField?: string;
}

/** A connection to the service's port is accepted. */
export interface TcpProbeSpec extends ProbeBase {
  readonly kind: 'tcp';
}

/** The container runs, is healthy by its own check and did not start again since it was made. */
export interface ContainerProbeSpec extends ProbeBase {
  readonly kind: 'container';
}

export type ProbeSpec = HttpProbeSpec | TcpProbeSpec | ContainerProbeSpec;
