using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>A pool that uses another pool's provider has no options for one.</summary>
internal sealed class SharedProviderRule(PoolRegistration registration) : IValidateOptions<RmaMemoryPoolOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaMemoryPoolOptions options)
    {
        if (name != registration.Key.Name || registration is not { SharesWith: { } other, ProviderSection: { } provider })
            return ValidateOptionsResult.Skip;
        return provider.Exists()
            ? ValidateOptionsResult.Fail($"{provider.Path} has options, but the pool uses the provider of the pool '{other.DisplayName}'. Set them there.")
            : ValidateOptionsResult.Success;
    }
}
