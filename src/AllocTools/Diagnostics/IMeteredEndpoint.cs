using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>An endpoint whose operations can be timed.</summary>
internal interface IMeteredEndpoint
{
    EndpointCounters Counters { get; }

    ILogger Logger { get; }
}
