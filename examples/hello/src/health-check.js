// Asked by the container engine; the image needs no curl for it.
const response = await fetch(`http://127.0.0.1:${process.env.PORT ?? 8080}/health`, {
  signal: AbortSignal.timeout(4_000),
});
process.exit(response.ok ? 0 : 1);
