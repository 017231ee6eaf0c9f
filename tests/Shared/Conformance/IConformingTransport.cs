using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Testing.Conformance;

/// <summary>A transport whose endpoints are tested by the conformance suite.</summary>
public interface IConformingTransport
{
    /// <summary>Gets the modes it can be opened in: fabrics, and who makes progress on them.</summary>
    static abstract IEnumerable<string> Modes { get; }

    /// <summary>Opens the transport.</summary>
    /// <param name="mode">One of <see cref="Modes"/>.</param>
    /// <param name="configure">Changes the options of its endpoints.</param>
    static abstract IRmaContext Open(string mode, Action<RmaEndpointOptions> configure);
}
