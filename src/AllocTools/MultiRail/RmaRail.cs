using AllocTools.Endpoints;

namespace AllocTools.MultiRail;

/// <summary>One link of an <see cref="RmaMultiRail"/>: a pool on a fabric of its own, such as one domain of two, and the endpoint by which peers reach its memory.</summary>
/// <param name="Name">The name, 1 to 64 printable ASCII characters. Both sides must give the two ends of a link the same name.</param>
/// <param name="Pool">The pool that registers memory for the link. It must allow the remote access that peers are granted.</param>
/// <param name="Endpoint">The endpoint whose address peers get. It belongs to the caller, and is only a target: operations use endpoints that the
/// multi-rail opens on the pool's context, one for each peer.</param>
public sealed record RmaRail(string Name, IRmaMemoryPool Pool, IRmaEndpoint Endpoint);
