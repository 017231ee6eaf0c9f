using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>
/// An operation, or the part of it that a driver is to post. The objects are made once for each operation that may be
/// outstanding, and used again.
/// </summary>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaDriverOperation
{
    private protected RmaDriverOperation(int index) => Index = index;

    /// <summary>Which of the operations that may be outstanding it is: 0 to MaxOutstanding - 1. Completions are reported by it.</summary>
    public int Index { get; }

    /// <summary>Which use of the object it is: it is used again for other operations.</summary>
    public abstract long Use { get; }

    /// <summary>What to do.</summary>
    public RmaOperationKind Kind { get; private protected set; }

    /// <summary>The first byte here.</summary>
    public nint Address { get; private protected set; }

    /// <summary>Bytes; of a receive, the room for a message.</summary>
    public long Length { get; private protected set; }

    /// <summary>The local descriptor of the memory's registration.</summary>
    public nint LocalDescriptor { get; private protected set; }

    /// <summary>The peer; null for a receive, which takes a message of any peer.</summary>
    public RmaDriverPeer? Peer { get; private protected set; }

    /// <summary>The first byte there, of a read or write, as the peer's provider wants it.</summary>
    public ulong RemoteAddress { get; private protected set; }

    /// <summary>The key of the memory there, of a read or write.</summary>
    public ulong Key { get; private protected set; }

    /// <summary>
    /// The number that is to arrive at the peer with the bytes of a write, and never before; null for none. Where a transport
    /// has no such writes, <see cref="RmaDriverCompletions.TryContinue"/> lets it send the number once the bytes are there.
    /// </summary>
    public ulong? Notification { get; private protected set; }

    /// <summary>Another operation is posted right after this one, so the transport may wait for it before it sends (FI_MORE).</summary>
    public bool HasMore { get; private protected set; }
}
