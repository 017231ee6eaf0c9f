using System.Diagnostics.CodeAnalysis;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Providers;

/// <summary>
/// What <c>AddRmaMemoryPool</c> must know of a provider that has options. The provider gives it as
/// <see cref="IRmaProvider.Descriptor"/>; it is the same for all its pools.
/// </summary>
/// <typeparam name="TOptions">
/// The options. A pool's have the pool's name; the application may set more of them by the builder's
/// <c>ConfigureProvider</c>.
/// </typeparam>
/// <param name="keys">The keys of the provider's section, each with the option that it sets.</param>
/// <param name="create">Makes the provider of a pool from its options, which are valid, and of what else the container has.</param>
/// <exception cref="ArgumentNullException">One of them is null.</exception>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaProviderDescriptor<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
    RmaOptionKeys<TOptions> keys,
    Func<TOptions, IServiceProvider, IRmaProvider> create) : RmaProviderDescriptor(keys ?? throw new ArgumentNullException(nameof(keys)))
    where TOptions : class
{
    private readonly Func<TOptions, IServiceProvider, IRmaProvider> _create = create ?? throw new ArgumentNullException(nameof(create));

    /// <inheritdoc/>
    public override Type OptionsType => typeof(TOptions);

    /// <summary>
    /// The rules of the options; null: there are none. A failure starts with the option's name, such as
    /// <c>Endpoint:SpinTime is …</c>; the path of the section, or the pool's name, is put before it.
    /// </summary>
    public IValidateOptions<TOptions>? Validator { get; init; }

    /// <inheritdoc/>
    public override IRmaProvider Create(IServiceProvider services, string poolName) =>
        _create(services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(poolName), services);

    /// <inheritdoc/>
    public override void Accept(IRmaProviderDescriptorVisitor visitor)
    {
        ArgumentNullException.ThrowIfNull(visitor);
        visitor.Visit(this);
    }
}
