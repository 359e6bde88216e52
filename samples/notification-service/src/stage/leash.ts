/**
 * Loaded into every process of the sample, before its own code: when the stage is gone, however it ended (kill -9 too), so is the process. The
 * operating system closes the channel to the stage, which is all that is needed to know.
 */
const GRACE_MS = 3_000;

if (process.channel) {
  process.once('disconnect', () => {
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), GRACE_MS).unref();
  });
  // Listening alone must not keep a process alive that has nothing else to do.
  process.channel.unref();
}
export {};
