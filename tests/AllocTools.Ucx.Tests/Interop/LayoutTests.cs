using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using AllocTools.Testing;
using AllocTools.Ucx.Interop;
using Xunit;

namespace AllocTools.Ucx.Tests.Interop;

/// <summary>Tests the binding against the installed headers. It needs cc and UCX's headers, and fails without them.</summary>
public sealed class LayoutTests(LayoutTests.Headers headers) : IClassFixture<LayoutTests.Headers>
{
    /// <summary>
    /// Structures that are declared only up to the last field that is used; a mask says which fields count, so UCX
    /// reads and writes no further.
    /// </summary>
    private static readonly string[] Shortened =
        [nameof(ucp_params), nameof(ucp_context_attr), nameof(ucp_worker_params), nameof(ucp_worker_attr), nameof(ucp_ep_params)];

    private static readonly Type[] All = [.. typeof(ucp_params).Assembly.GetTypes()
        .Where(type => type.Namespace == typeof(ucp_params).Namespace && !type.IsDefined(typeof(CompilerGeneratedAttribute)) && !type.IsNested)
        .OrderBy(type => type.Name, StringComparer.Ordinal)];

    private static IEnumerable<Type> Structs => All.Where(type => type.IsValueType && type != typeof(UcxExports));

    private static IEnumerable<FieldInfo> Constants => All.Where(type => type.IsAbstract && type.IsSealed).SelectMany(type => type.GetFields(BindingFlags.Public | BindingFlags.Static));

    [Fact]
    public void Structures_have_the_size_of_the_headers() => Assert.All(Structs, type =>
    {
        long native = headers.Native[type.Name][0];
        long ours = NativeLayout.SizeOf(type);
        Assert.True(native == ours || (native > ours && Shortened.Contains(type.Name)), $"{type.Name}: {native} bytes in the headers, {ours} here");
    });

    [Fact]
    public void Fields_stand_where_the_headers_have_them() => Assert.All(Structs.SelectMany(FieldsOf), field =>
        Assert.Equal(headers.Native[KeyOf(field)].AsEnumerable(), [NativeLayout.OffsetOf(field), NativeLayout.SizeOf(field.FieldType)]));

    [Fact]
    public void Constants_have_the_values_of_the_headers() => Assert.All(Constants, constant =>
        Assert.Equal(headers.Native[constant.Name][0], Convert.ToInt64(constant.GetRawConstantValue(), System.Globalization.CultureInfo.InvariantCulture)));

    [Fact]
    public void A_status_takes_one_byte() => Assert.Equal(1, headers.Native["ucs_status"][0]);

    [Fact]
    public void Nothing_is_left_out()
    {
        // This ensures that a broken filter can't make the other tests pass on nothing.
        Assert.Contains(typeof(ucp_request_param), Structs);
        Assert.Contains(Constants, c => c.Name == nameof(UcsStatus.UCS_ERR_ENDPOINT_TIMEOUT));
        Assert.Contains(Constants, c => c.Name == nameof(UcpOp.UCP_OP_ATTR_FLAG_NO_IMM_CMPL));
        Assert.All(Structs, type => Assert.True(char.IsLower(type.Name[0]), $"{type} is no C name"));
        Assert.True(typeof(UcxExports).GetFields().Length > 30);
    }

    private static FieldInfo[] FieldsOf(Type type) => type.GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance);

    private static string KeyOf(FieldInfo field) => $"{field.DeclaringType!.Name}.{field.Name}";

    /// <summary>
    /// The output of a C program that is generated from the binding. The program also calls each function with the
    /// binding's argument types, so that a wrong signature doesn't compile.
    /// </summary>
    public sealed class Headers
    {
        internal Dictionary<string, long[]> Native { get; } = NativeLayout.Run(Source(), "-lucp", "-lucs");

        private static string Source()
        {
            StringBuilder source = new("#include <stdio.h>\n#include <stddef.h>\n#include <ucp/api/ucp.h>\n");
            foreach (FieldInfo function in FieldsOf(typeof(UcxExports)))
                AppendCall(source, function);
            source.Append("int main(void)\n{\nprintf(\"ucs_status %zu\\n\", sizeof(ucs_status_t));\n");
            foreach (Type type in Structs)
            {
                source.Append($"printf(\"{type.Name} %zu\\n\", sizeof({type.Name}_t));\n");
                foreach (FieldInfo field in FieldsOf(type))
                    source.Append($"printf(\"{KeyOf(field)} %zu %zu\\n\", offsetof({type.Name}_t, {field.Name}), sizeof((({type.Name}_t *)0)->{field.Name}));\n");
            }
            foreach (FieldInfo constant in Constants)
                source.Append($"printf(\"{constant.Name} %lld\\n\", (long long)({constant.Name}));\n");
            return source.Append("return 0;\n}\n").ToString();
        }

        private static void AppendCall(StringBuilder source, FieldInfo function)
        {
            Type[] types = function.FieldType.GetFunctionPointerParameterTypes();
            Type result = function.FieldType.GetFunctionPointerReturnType();
            string call = $"{function.Name}({string.Join(", ", types.Select((_, i) => $"a{i}"))})";
            string check = result == typeof(void) ? ""
                : $"_Static_assert(_Generic({call}, {(result == typeof(byte).MakePointerType() ? "const char *" : CType(result))}: 1, default: 0), \"{function.Name}\"); ";
            source.Append($"void call_{function.Name}({string.Join(", ", types.Select((type, i) => $"{CType(type)} a{i}").DefaultIfEmpty("void"))});\n");
            source.Append($"void call_{function.Name}({string.Join(", ", types.Select((type, i) => $"{CType(type)} a{i}").DefaultIfEmpty("void"))}) {{ {check}(void){call}; }}\n");
        }

        // A handle is a pointer to something that only UCX knows, and so is a value that is returned through a pointer.
        private static string CType(Type type) => type.IsPointer
            ? type.GetElementType() is { } to && !to.IsPointer && to != typeof(void) && to != typeof(byte) ? CType(to) + " *" : "void *"
            : type == typeof(sbyte) ? "ucs_status_t"
            : type == typeof(int) ? "int"
            : type == typeof(uint) ? "unsigned"
            : type == typeof(ulong) ? "uint64_t"
            : type == typeof(nuint) ? "size_t"
            : type.Name + "_t";
    }
}
