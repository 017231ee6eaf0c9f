using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>A pool whose registrations and waits can be timed.</summary>
internal interface IMeteredPool
{
    /// <summary>Its histograms; null where nobody publishes the pool.</summary>
    PoolInstruments? Instruments { set; }

    ILogger Logger { get; }
}
