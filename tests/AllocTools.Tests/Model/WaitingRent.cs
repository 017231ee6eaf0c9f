namespace AllocTools.Tests.Model;

/// <summary>A waiting request.</summary>
internal sealed class WaitingRent(long length, int owner, Task<RmaBuffer> task, CancellationTokenSource cancellation, DateTimeOffset deadline)
{
    public long Length => length;

    /// <summary>Gets the index of the class that serves it, or that of the direct regions.</summary>
    public int Owner => owner;

    public Task<RmaBuffer> Task => task;

    public bool IsCancelled => cancellation.IsCancellationRequested;

    public void Cancel() => cancellation.Cancel();

    public DateTimeOffset Deadline => deadline;

    public bool IsOverdue(DateTimeOffset now) => now >= deadline;
}
