/** The environment of this process for one that a test starts and reads: without what forces colours into a pipe. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  delete env['FORCE_COLOR'];
  delete env['CLICOLOR_FORCE'];
  return env;
}
