/** How a probe over HTTP names itself: the router tells its requests from those of users by it. */
export const probeAgent = 'slipway-probe';
