using AllocTools.Regions;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>A third-party provider with its own options.</summary>
public sealed class OptionsProvider(RmaProviderActivation activation, IOptionsMonitor<OptionsProviderOptions> options) : IRmaProvider
{
    public IRmaContext Open() => new RecordingContext(new Journal(), options.Get(activation.PoolName).Device);
}
