using System.Diagnostics.CodeAnalysis;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// The base class of the conformance suite: its subclasses test endpoints on each transport, in each of its modes.
/// </summary>
/// <typeparam name="TTransport">The transport.</typeparam>
public abstract class EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [SuppressMessage("Design", "CA1000", Justification = "xunit finds the rows of a theory by a static member.")]
    public static TheoryData<string> Modes => [.. TTransport.Modes];

    /// <summary>
    /// Each fabric in one mode only: modes whose names extend another mode's are left out. For tests that don't depend
    /// on who makes progress, or how.
    /// </summary>
    [SuppressMessage("Design", "CA1000", Justification = "xunit finds the rows of a theory by a static member.")]
    public static TheoryData<string> Fabrics => [.. TTransport.Modes.Where(m => !TTransport.Modes.Any(other => other.Length < m.Length && m.StartsWith(other, StringComparison.Ordinal)))];

    protected static CancellationToken Token => TestContext.Current.CancellationToken;
}
