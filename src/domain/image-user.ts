/** Whether a process of an image with this `USER` runs as root: none is named, or root itself, alone or with a group (`0:0`, `root:app`). */
export function isRoot(user: string): boolean {
  return /^(?:|root|0+)(?::|$)/.test(user.trim());
}
