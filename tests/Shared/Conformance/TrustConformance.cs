using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests that the traits and the log say so if a transport does not check what peers do with the memory they were
/// granted.
/// </summary>
public abstract class TrustConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    /// <summary>
    /// Whether a fabric of the transport enforces access. The tests state it themselves rather than take it from the
    /// traits.
    /// </summary>
    /// <param name="fabric">One of its modes.</param>
    protected abstract bool Enforces(string fabric);

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhetherAccessIsEnforcedIsInTheTraitsAndLoggedOnceWhereNot(string fabric)
    {
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        using IRmaContext context = TTransport.Open(fabric, static _ => { });
        await using (new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite }, "open", logging))
        {
        }
        Assert.Equal(Enforces(fabric), context.Traits.RemoteAccessEnforced);
        Assert.Equal(Enforces(fabric) ? 0 : 1, logs.GetSnapshot().Count(static l => l.Id.Id == 4));
    }
}
