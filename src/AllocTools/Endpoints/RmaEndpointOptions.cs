using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Endpoints;

/// <summary>Options of an endpoint of any transport.</summary>
public class RmaEndpointOptions
{
    /// <summary>Which threads make progress. Default: <see cref="RmaProgress.Endpoint"/>.</summary>
    [OptionChoice(typeof(RmaProgress))]
    public RmaProgress Progress { get; set; } = RmaProgress.Endpoint;

    /// <summary>Where code continues after an await. Default: <see cref="RmaContinuations.ThreadPool"/>.</summary>
    [OptionChoice(typeof(RmaContinuations))]
    public RmaContinuations Continuations { get; set; } = RmaContinuations.ThreadPool;

    /// <summary>
    /// How long an operation may take, including the time in which the transport does not accept it.
    /// Range: 1 ms to 24 h, or -1 ms for no limit. Default: 30 s.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How many operations may be outstanding. Further ones wait until one has ended; <see cref="IRmaEndpoint.TryPost"/>
    /// returns false. Range: 1 to 65,536. Default: 1,024.
    /// </summary>
    [OptionRange(1, 65536, "operations")]
    public int MaxOutstanding { get; set; } = 1024;

    /// <summary>
    /// The longest message that this endpoint sends or accepts, in bytes. Longer messages are refused by the sender:
    /// send parts, or write by RMA. Address space of that size, without memory behind it, is reserved for the part of a
    /// message that does not fit into the buffer of its receive. Range: 1 B to 1 GiB. Default: 64 MiB.
    /// </summary>
    [OptionRange(1, 1L << 30, "bytes")]
    public long MaxMessageLength { get; set; } = 64L << 20;

    /// <summary>
    /// How many notifications of peers' writes are kept for the application to read. Further ones are lost, and the
    /// next read reports their number. Range: 1 to 16,777,216. Default: 65,536.
    /// </summary>
    [OptionRange(1, 1 << 24, "notifications")]
    public int MaxNotifications { get; set; } = 65536;

    /// <summary>
    /// How long the progress loop keeps polling the completion queue after the last completion before it waits.
    /// Range: 0 to 1 s. Default: 50 µs.
    /// </summary>
    /// <remarks>
    /// An await makes progress itself for up to ten times SpinTime before it suspends (at most 1 ms, or 2 ms if completions
    /// keep arriving), unless recent awaits did so in vain. With 0, each await suspends after one poll. The first check
    /// whether an operation has completed (<see cref="ValueTask.IsCompleted"/>, <see cref="ValueTask.AsTask"/>) does the
    /// same. While the endpoint's thread spins, it uses a whole processor: if the endpoint is used at least once in each
    /// SpinTime, the thread never releases it. On 2 processors, two endpoints with one write every 10 ms took 12 % of a core
    /// at 50 µs, 25 % at 500 µs and 135 % at 5 ms. Writes also became slower, because the spinning threads took the
    /// processors from the code that awaits (docs/performance.md).
    /// </remarks>
    [OptionTimeRange(0, 1000)]
    public TimeSpan SpinTime { get; set; } = TimeSpan.FromMicroseconds(50);

    /// <summary>
    /// The longest pause between two polls of a completion queue that can't be waited for, as with <c>shm</c>. Pauses
    /// grow with the idle time, up to a hundredth of it (at least 1 ms). The first operation of a peer that can't wake
    /// the endpoint, such as a program in C, is delayed by up to one pause. Range: 1 ms to 1 s. Default: 100 ms.
    /// </summary>
    [OptionTimeRange(1, 1000)]
    public TimeSpan LongestPause { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// How long an operation may be outstanding before its peer is reported as slow
    /// (<see cref="IRmaEndpoint.ReadPeerChangesAsync"/>, a metric, the log). The operation continues until its own
    /// time-out. Operations are checked every 250 ms. Range: 250 ms to 24 h, or -1 ms to never report a peer as slow.
    /// Default: 5 s.
    /// </summary>
    /// <remarks>
    /// If several peers are overdue while no operation at all succeeds, they are reported after twice the time, because
    /// this side may be the cause.
    /// </remarks>
    [OptionTimeRange(250, OptionTimeRangeAttribute.Day, InfiniteMeans = "no such reports")]
    public TimeSpan SlowPeerTime { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>Whether and how reads and plain writes that failed for a transient reason are repeated. Default: they are not.</summary>
    [ValidateObjectMembers(typeof(RmaRetryOptionsValidator))]
    public RmaRetryOptions Retry { get; private set; } = new();

    /// <summary>Returns a copy of the same type.</summary>
    internal RmaEndpointOptions Copy()
    {
        var copy = (RmaEndpointOptions)MemberwiseClone();
        copy.Retry = Retry.Copy();
        return copy;
    }
}
