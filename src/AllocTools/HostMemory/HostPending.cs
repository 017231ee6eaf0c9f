using System.Diagnostics;

namespace AllocTools.HostMemory;

/// <summary>A send or receive that waits for its counterpart.</summary>
internal sealed class HostPending(HostEndpoint owner, HostMailbox mailbox, in RmaOperation operation, RmaHold hold, TaskCompletionSource<long>? task, long deadline)
{
    // Copied here once; a hold has one place.
    private RmaHold _hold = hold;

    public HostEndpoint Owner => owner;

    /// <summary>Where it waits.</summary>
    public HostMailbox Mailbox => mailbox;

    public RmaOperationKind Kind { get; } = operation.Kind;

    public RmaSlice Local { get; } = operation.Local;

    /// <summary>The first byte, until <see cref="Release"/>.</summary>
    public nint Address { get; } = hold.Address + (nint)operation.Local.Offset;

    public ulong Context { get; } = operation.Context;

    public TaskCompletionSource<long>? Task => task;

    /// <summary>The clock's timestamp at which it times out; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline => deadline;

    /// <summary>The clock's timestamp of its start.</summary>
    public long Started { get; } = Stopwatch.GetTimestamp();

    public void Release() => _hold.Release();
}
