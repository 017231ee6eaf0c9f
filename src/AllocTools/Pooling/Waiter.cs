using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>A request that waits for room at the cap.</summary>
internal sealed class Waiter(long length, int classIndex, long since) : TaskCompletionSource<RmaBuffer>(TaskCreationOptions.RunContinuationsAsynchronously)
{
    public long Length { get; } = length;

    /// <summary>The size class it waits for; the number of classes stands for the direct regions.</summary>
    public int ClassIndex { get; } = classIndex;

    /// <summary>The timestamp of its coming.</summary>
    public long Since { get; } = since;

    /// <summary>The span of who waits: what is registered for it is a child of that.</summary>
    public Activity? Span { get; } = Activity.Current;

    /// <summary>How often a younger waiter was served first.</summary>
    public int Overtaken { get; set; }
}
