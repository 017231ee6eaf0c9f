using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Providers;

/// <summary>Processes a descriptor with the type of its options. It is meant for code that hosts providers.</summary>
[Experimental(ExperimentalId.Providers)]
public interface IRmaProviderDescriptorVisitor
{
    /// <summary>Called by <see cref="RmaProviderDescriptor.Accept"/>.</summary>
    /// <typeparam name="TOptions">The type of the options.</typeparam>
    /// <param name="descriptor">The descriptor.</param>
    void Visit<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(RmaProviderDescriptor<TOptions> descriptor)
        where TOptions : class;
}
