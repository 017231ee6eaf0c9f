using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Testing.Conformance;

/// <summary>A transport whose endpoints are held against the suite.</summary>
public interface IConformingTransport
{
    /// <summary>What it is opened as: fabrics, and who makes progress on them.</summary>
    static abstract IEnumerable<string> Modes { get; }

    /// <summary>Opens it.</summary>
    /// <param name="mode">One of <see cref="Modes"/>.</param>
    /// <param name="configure">Changes the options of its endpoints.</param>
    static abstract IRmaContext Open(string mode, Action<RmaEndpointOptions> configure);
}
