using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>A pool of this library, whose registrations and waits can be timed, and whose cap can be read at no cost.</summary>
internal interface IMeteredPool
{
    /// <summary>Its histograms; null if the pool is not published.</summary>
    PoolInstruments? Instruments { set; }

    ILogger Logger { get; }

    /// <summary>The cap in force, in bytes.</summary>
    long LimitBytes { get; }
}
