/**
 * Task queues by capability. One machine polls them all in one process; many machines divide them. A workspace has a queue of its own,
 * named by `prepareRun`, which only the worker that holds the checkout polls.
 */
export const taskQueues = {
  /** Workflows, and activities that only need the store and Temporal. */
  orchestration: 'orchestration',
  /** Checkouts, steps, images. */
  build: 'build',
  /** Everything that touches a target, its router or its database. */
  deploy: 'deploy',
  /** Messages to people. */
  notify: 'notify',
} as const;

/** Where workflows run; the one that `worker --verify` looks at. */
export const workflowTaskQueue: string = taskQueues.orchestration;
