using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>A provider whose constructor for the container is not the one that takes the activation.</summary>
public sealed class MarkedProvider : IRmaProvider
{
    private readonly Journal _journal;
    private readonly string _providerName;

    [ActivatorUtilitiesConstructor]
    public MarkedProvider(Journal journal)
    {
        _journal = journal;
        _providerName = "marked";
    }

    public MarkedProvider(RmaProviderActivation activation, Journal journal)
    {
        _journal = journal;
        _providerName = activation.PoolName;
    }

    public IRmaContext Open() => new RecordingContext(_journal, _providerName);
}
