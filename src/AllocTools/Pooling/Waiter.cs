namespace AllocTools.Pooling;

/// <summary>A request that waits for room at the cap.</summary>
internal sealed class Waiter(long length) : TaskCompletionSource<RmaBuffer>(TaskCreationOptions.RunContinuationsAsynchronously)
{
    public long Length { get; } = length;

    /// <summary>How often a younger waiter was served first.</summary>
    public int Overtaken { get; set; }
}
