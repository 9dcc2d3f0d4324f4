import Docker from 'dockerode';

/** Removes every image of an engine that has these labels. @param address - of the engine, as in DOCKER_HOST. */
export async function removeImages(address: string, labels: Readonly<Record<string, string>>): Promise<void> {
  const docker = new Docker({ socketPath: address.replace('unix://', '') });
  const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  for (const { Id } of await docker.listImages({ all: true, filters: JSON.stringify({ label }) })) {
    // One that others are made of goes with the last of them.
    await docker
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined);
  }
}
