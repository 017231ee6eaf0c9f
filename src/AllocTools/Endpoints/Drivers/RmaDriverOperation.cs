using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>
/// An operation, or the part of it that a driver must post. There is one object for each operation that may be
/// outstanding, and the objects are reused.
/// </summary>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaDriverOperation
{
    private protected RmaDriverOperation(int index) => Index = index;

    /// <summary>
    /// The index among the operations that may be outstanding: 0 to MaxOutstanding - 1. Completions are reported with
    /// this index.
    /// </summary>
    public int Index { get; }

    /// <summary>The number of this use of the object, which is reused for other operations.</summary>
    public abstract long Use { get; }

    /// <summary>The kind of operation.</summary>
    public RmaOperationKind Kind { get; private protected set; }

    /// <summary>The address of the first local byte.</summary>
    public nint Address { get; private protected set; }

    /// <summary>The length in bytes; for a receive, the space for a message.</summary>
    public long Length { get; private protected set; }

    /// <summary>The local descriptor of the memory's registration.</summary>
    public nint LocalDescriptor { get; private protected set; }

    /// <summary>The peer; null for a receive, which accepts messages from any peer.</summary>
    public RmaDriverPeer? Peer { get; private protected set; }

    /// <summary>The address of the first remote byte of a read or write, in the form that the peer's provider requires.</summary>
    public ulong RemoteAddress { get; private protected set; }

    /// <summary>The key of the remote memory of a read or write.</summary>
    public ulong Key { get; private protected set; }

    /// <summary>
    /// The number that must arrive at the peer with the bytes of a write, and never before; null for none. If a
    /// transport does not support such writes, <see cref="RmaDriverCompletions.TryContinue"/> lets it send the number
    /// once the bytes are there.
    /// </summary>
    public ulong? Notification { get; private protected set; }

    /// <summary>
    /// Whether another operation is posted right after this one, so that the transport may wait for it before it sends
    /// (FI_MORE).
    /// </summary>
    public bool HasMore { get; private protected set; }
}
