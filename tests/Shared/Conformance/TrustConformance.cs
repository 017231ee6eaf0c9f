using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Whoever grants peers access to memory learns where the transport does not check what they do with it.</summary>
public abstract class TrustConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    /// <summary>Whether the fabrics of the transport enforce access. It is stated by the tests, and not taken from the traits.</summary>
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
