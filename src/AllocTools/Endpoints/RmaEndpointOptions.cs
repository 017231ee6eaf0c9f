using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>Options of an endpoint, whatever its transport.</summary>
public class RmaEndpointOptions
{
    /// <summary>Who makes progress. Default: <see cref="RmaProgress.Endpoint"/>.</summary>
    [OptionChoice(typeof(RmaProgress))]
    public RmaProgress Progress { get; set; } = RmaProgress.Endpoint;

    /// <summary>Where what is awaited goes on. Default: <see cref="RmaContinuations.ThreadPool"/>.</summary>
    [OptionChoice(typeof(RmaContinuations))]
    public RmaContinuations Continuations { get; set; } = RmaContinuations.ThreadPool;

    /// <summary>
    /// How long an operation may take, the time in which the transport accepts nothing included.
    /// Range: 1 ms to 24 h, or -1 ms for no limit. Default: 30 s.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How many operations may be outstanding. Further ones wait their turn; <see cref="IRmaEndpoint.TryPost"/> says
    /// false. Range: 1 to 65,536. Default: 1,024.
    /// </summary>
    [OptionRange(1, 65536, "operations")]
    public int MaxOutstanding { get; set; } = 1024;

    /// <summary>
    /// The longest message that this endpoint sends or takes, in bytes. Longer ones are refused where they are sent: send
    /// parts, or write by RMA. Address space of that size, without memory behind it, is kept for what does not fit into
    /// the buffer of its receive. Range: 1 B to 1 GiB. Default: 64 MiB.
    /// </summary>
    [OptionRange(1, 1L << 30, "bytes")]
    public long MaxMessageLength { get; set; } = 64L << 20;

    /// <summary>
    /// How many notifications of peers' writes are kept for the application to read. Further ones are lost, which the next
    /// read reports. Range: 1 to 16,777,216. Default: 65,536.
    /// </summary>
    [OptionRange(1, 1 << 24, "notifications")]
    public int MaxNotifications { get; set; } = 65536;

    /// <summary>
    /// How long the progress loop goes on reading the completion queue after the last completion before it waits.
    /// Range: 0 to 1 s. Default: 50 µs.
    /// </summary>
    /// <remarks>
    /// An await makes progress itself for up to ten times SpinTime before it suspends (1 ms at the most, 2 ms where something happens all the
    /// time), unless the last ones did so in vain; 0 has each suspend after one look. The first question whether an operation has completed
    /// (<see cref="ValueTask.IsCompleted"/>, <see cref="ValueTask.AsTask"/>) does the same. While it spins, the endpoint's thread takes a whole processor: one that is used at least once each SpinTime never lets go of it. On 2
    /// processors, two endpoints with a write each 10 ms took 12 % of a core at 50 µs, 25 % at 500 µs and 135 % at 5 ms, and writes became
    /// slower with it, since the threads that spin took the processors from the code that awaits (docs/performance.md).
    /// </remarks>
    [OptionTimeRange(0, 1000)]
    public TimeSpan SpinTime { get; set; } = TimeSpan.FromMicroseconds(50);

    /// <summary>
    /// The longest pause between two looks at a completion queue that can't be waited for, as with <c>shm</c>. Pauses grow
    /// with the time that nothing has happened, and are at most a hundredth of it (or 1 ms); so much later the first
    /// operation of a peer is served that can't wake the endpoint, such as a program in C. Range: 1 ms to 1 s. Default: 100 ms.
    /// </summary>
    [OptionTimeRange(1, 1000)]
    public TimeSpan LongestPause { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>A copy, of the same type.</summary>
    internal RmaEndpointOptions Copy() => (RmaEndpointOptions)MemberwiseClone();
}
