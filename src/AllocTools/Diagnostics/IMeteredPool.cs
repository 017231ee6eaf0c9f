using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>A pool of this library: its registrations and waits can be timed, and its cap be read at no cost.</summary>
internal interface IMeteredPool
{
    /// <summary>Its histograms; null where nobody publishes the pool.</summary>
    PoolInstruments? Instruments { set; }

    ILogger Logger { get; }

    /// <summary>The cap in force, in bytes.</summary>
    long LimitBytes { get; }
}
