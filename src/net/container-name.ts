declare const brand: unique symbol;

/** Name of a container, a service or an alias, as Docker's resolver knows it: one label, in lower case. */
export type ContainerName = string & { readonly [brand]: 'ContainerName' };

/**
 * Parses a name that Docker's resolver can be asked for; undefined when it is not one. Without a dot: a name that has
 * one is passed on to other resolvers while its container is absent. With a letter: else it is meant as a port.
 */
export function parseContainerName(text: string): ContainerName | undefined {
  const isName = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(text) && /[a-z]/i.test(text);
  return isName ? (text.toLowerCase() as ContainerName) : undefined;
}
