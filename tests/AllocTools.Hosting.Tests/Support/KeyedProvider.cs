using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>A third-party provider that requests the activation and a keyed service, and has a second constructor.</summary>
public sealed class KeyedProvider : IRmaProvider
{
    private readonly Journal _journal;
    private readonly string _providerName;

    public KeyedProvider(Journal journal)
        : this(journal, "wrong constructor")
    {
    }

    public KeyedProvider(RmaProviderActivation activation, [FromKeyedServices("transport")] Journal journal)
        : this(journal, $"for '{activation.PoolName}'")
    {
    }

    private KeyedProvider(Journal journal, string providerName)
    {
        _journal = journal;
        _providerName = providerName;
    }

    public IRmaContext Open() => new RecordingContext(_journal, _providerName);
}
