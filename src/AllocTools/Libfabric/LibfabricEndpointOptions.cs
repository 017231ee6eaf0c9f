using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Libfabric;

/// <summary>Options of a <see cref="LibfabricEndpoint"/>.</summary>
public sealed class LibfabricEndpointOptions : RmaEndpointOptions
{
    /// <summary>The meaning of a completed write or send. Default: <see cref="LibfabricCompletionLevel.Delivery"/>.</summary>
    [OptionChoice(typeof(LibfabricCompletionLevel))]
    public LibfabricCompletionLevel CompletionLevel { get; set; } = LibfabricCompletionLevel.Delivery;

    /// <summary>
    /// The number of messages that may be sent to a peer after it last had a receive posted. Further messages wait until it
    /// posts one again, or time out; otherwise they would accumulate in its memory. This applies to transports without a
    /// limit of their own: tcp;ofi_rxm and sockets.
    /// Range: 1 to 1,048,576, or 0 for no limit. Default: 1,024.
    /// </summary>
    [OptionRange(0, 1 << 20, "messages", LeastMeans = "no limit")]
    public int MaxUnreceivedMessages { get; set; } = 1024;
}
