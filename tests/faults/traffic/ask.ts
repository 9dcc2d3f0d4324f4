/** Asks one address and prints the body: a program of its own, for it is run inside the network of the lab. */
const { url } = JSON.parse(process.argv[2] ?? '{}') as { url: string };
const response = await fetch(url);
if (response.ok) process.stdout.write(await response.text());
