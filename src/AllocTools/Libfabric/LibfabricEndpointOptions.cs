using AllocTools.Validation;

namespace AllocTools.Libfabric;

/// <summary>Options of a <see cref="LibfabricEndpoint"/>.</summary>
public sealed class LibfabricEndpointOptions
{
    /// <summary>Who makes progress. Default: <see cref="LibfabricProgress.Endpoint"/>.</summary>
    [OptionChoice(typeof(LibfabricProgress))]
    public LibfabricProgress Progress { get; set; } = LibfabricProgress.Endpoint;

    /// <summary>What a completed write or send means. Default: <see cref="LibfabricCompletionLevel.Delivery"/>.</summary>
    [OptionChoice(typeof(LibfabricCompletionLevel))]
    public LibfabricCompletionLevel CompletionLevel { get; set; } = LibfabricCompletionLevel.Delivery;

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
    /// How long the progress loop goes on reading the completion queue after the last completion before it waits.
    /// Range: 0 to 1 s. Default: 50 µs.
    /// </summary>
    [OptionTimeRange(0, 1000)]
    public TimeSpan SpinTime { get; set; } = TimeSpan.FromMicroseconds(50);

    internal LibfabricEndpointOptions Copy() => (LibfabricEndpointOptions)MemberwiseClone();
}
